"""What turns a photo into a template besides the weights. All of it is part of the model's version: a change
here makes templates that must not be compared with those made before."""

from typing import Final

DETECTION_SIDE_PX: Final = 1280
"""Larger photos are reduced to this longest side before faces are looked for; the crop is still taken at full
size."""

MIN_FACE_PX: Final = 40
"""The smallest face that is looked for, in pixels of the photo: FaceNet sees 160 px, and below a quarter of
that there is too little to tell people apart."""

MIN_REDUCED_FACE_PX: Final = 20
"""The smallest face that is looked for in a reduced photo, which bounds the time that a large one takes."""

CROP_SIDE_PX: Final = 160
"""What the network takes."""

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
    f"mtcnn facenet-pytorch 2.5.3, side {DETECTION_SIDE_PX}, face {MIN_FACE_PX}/{MIN_REDUCED_FACE_PX}; "
    f"prominence {CENTRALITY_SPREAD}; crop {CROP_SIDE_PX} margin {CROP_MARGIN_PX}, stretched; "
    "(x - 127.5) / 128"
)
