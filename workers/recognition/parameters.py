"""What turns a photo into a template besides the weights. All of it is part of the model's version: a change
here makes templates that must not be compared with those made before."""

from typing import Final

GLANCE_SIDE_PX: Final = 640
GLANCE_FACE_SHARE: Final = 1 / 16
"""A photo is first looked at with its longest side reduced to between this and twice this, for faces of at
least this share of it: such a face is 40 px wide at 640."""

SEARCH_SIDE_PX: Final = 1280
SEARCH_FACE_SHARE: Final = 1 / 64
"""The same for a closer look, where the first can't settle what is asked. The shares bound the time that a
large photo takes."""

MIN_FACE_PX: Final = 40
"""The smallest face that is looked for, in pixels of the photo, unless smaller ones are asked for: FaceNet
sees 160 px, and below a quarter of that there is too little to tell people apart."""

CROP_SIDE_PX: Final = 160
"""What the network takes. A face is cut from a picture in which its box is at least as wide, if the photo
has it so."""

CROP_MARGIN_PX: Final = 32
"""How much of the crop lies around the detected box: what the weights were trained on, and the best of 0, 14,
32, 44 and 56 on LFW's development lists."""

STANDARD_MEAN: Final = 127.5
STANDARD_DIVISOR: Final = 128.0
"""What is taken from each level, 0 to 255, and what it is then divided by: the fixed scaling of the weights'
training."""

CENTRALITY_SPREAD: Final = 0.4
"""How fast a face loses prominence away from the middle (`workers.recognition.detector.prominence`)."""

PROJECTION_RECIPE: Final = "left singular vectors of the bottleneck, bias first, 128"
"""How templates are made from embeddings (`workers.recognition.projection`)."""

PIPELINE: Final = (
    f"mtcnn facenet-pytorch 2.5.3, glance {GLANCE_SIDE_PX} px 1/{1 / GLANCE_FACE_SHARE:g}, "
    f"search {SEARCH_SIDE_PX} px 1/{1 / SEARCH_FACE_SHARE:g}, face {MIN_FACE_PX} px; "
    f"prominence {CENTRALITY_SPREAD}; crop {CROP_SIDE_PX} margin {CROP_MARGIN_PX}, stretched; "
    "(x - 127.5) / 128"
)
