"""The compute process: the face pipeline behind a socket, so that a hang or a crash in it takes nothing else
along. It has a child of its own, the opener, for what is likelier to crash or hang: decoding photos."""

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from infra.child import CallRefused, ChildStartFailed, Handlers, child_main
from infra.telemetry import configure_logging
from schemas.recognition import PhotoLimits
from workers.recognition.analysis import answer_to_frame, request_from_frame
from workers.recognition.compute import NO_OPENER
from workers.recognition.encoder import DeviceUnavailable
from workers.recognition.looking import OpenPhoto
from workers.recognition.model import CalibratedModel, calibrated_model
from workers.recognition.opener_process import OpenerBudget, OpenerProcess, OpenerUnavailable, opener_process
from workers.recognition.pipeline import FacePipeline, SelfTestFailed
from workers.recognition.weights import WeightsError, read_stamp


@contextmanager
def serve(arguments: Mapping[str, Any]) -> Generator[Handlers]:
    """Start the opener, load the model and try it; only then is the child ready.

    `arguments`: `folder` (of the weights), `device`, `threads`, `limits` (of photos), `opener` (its
    budget)."""
    configure_logging("warning")
    limits = PhotoLimits.model_validate(arguments["limits"])
    try:
        with opener_process(limits, OpenerBudget.model_validate(arguments["opener"])) as opener:
            yield _handlers(*_loaded(arguments, opener.open), opener)
    except ChildStartFailed as error:
        raise CallRefused("opener", str(error)) from error


def _loaded(arguments: Mapping[str, Any], open_photo: OpenPhoto) -> tuple[CalibratedModel, FacePipeline]:
    try:
        model = calibrated_model(read_stamp(Path(arguments["folder"])))
        pipeline = FacePipeline.load(
            model.files, device=arguments["device"], threads=arguments["threads"], open_photo=open_photo
        )
        pipeline.self_test()
    except WeightsError as error:
        raise CallRefused("weights", str(error)) from error
    except DeviceUnavailable as error:
        raise CallRefused("device", str(error)) from error
    except SelfTestFailed as error:
        raise CallRefused("self_test", str(error)) from error
    return model, pipeline


def _handlers(model: CalibratedModel, pipeline: FacePipeline, opener: OpenerProcess) -> Handlers:
    def analyse(payload: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
        requests = [request_from_frame(frame) for frame in payload["photos"]]
        try:
            answers = pipeline.analyse(requests, prepare_s=payload["prepare_s"])
        except OpenerUnavailable as error:
            raise CallRefused(NO_OPENER, str(error)) from error
        finally:
            opener.give_back()  # The next photo may be long in coming.
        return [answer_to_frame(answer) for answer in answers]

    def self_test(_: object) -> Mapping[str, Any]:
        try:
            pipeline.self_test()
        except SelfTestFailed as error:
            raise CallRefused("self_test", str(error)) from error
        return {"model": model.stamp.model_dump(), "engine": pipeline.engine.model_dump()}

    return {"analyse": analyse, "self_test": self_test}


if __name__ == "__main__":
    child_main(serve)
