"""The compute process: the face pipeline behind a socket, so that a hang or a crash in it takes nothing else
along."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.child import CallRefused, Handlers, child_main
from schemas.recognition import PhotoLimits
from workers.recognition.analysis import answer_to_frame, request_from_frame
from workers.recognition.model import calibrated_model
from workers.recognition.pipeline import DeviceUnavailable, FacePipeline, SelfTestFailed
from workers.recognition.weights import WeightsError, read_stamp


@contextmanager
def serve(arguments: Mapping[str, Any]) -> Generator[Handlers]:
    """Load the model and try it; only then is the child ready.

    `arguments`: `folder` (of the weights), `device`, `threads`, `limits` (of photos)."""
    try:
        model = calibrated_model(read_stamp(Path(arguments["folder"])))
        pipeline = FacePipeline.load(
            model.files,
            device=arguments["device"],
            threads=arguments["threads"],
            limits=PhotoLimits.model_validate(arguments["limits"]),
        )
        pipeline.self_test()
    except WeightsError as error:
        raise CallRefused("weights", str(error)) from error
    except DeviceUnavailable as error:
        raise CallRefused("device", str(error)) from error
    except SelfTestFailed as error:
        raise CallRefused("self_test", str(error)) from error

    def analyse(payload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        requests = [request_from_frame(frame) for frame in payload["photos"]]
        return [answer_to_frame(answer) for answer in pipeline.analyse(requests)]

    def self_test(_: object) -> Mapping[str, Any]:
        try:
            pipeline.self_test()
        except SelfTestFailed as error:
            raise CallRefused("self_test", str(error)) from error
        return {"model": model.stamp.model_dump()}

    yield {"analyse": analyse, "self_test": self_test}


if __name__ == "__main__":
    child_main(serve)
