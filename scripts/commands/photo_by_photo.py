"""What the commands say of one photo after another."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from scripts.commands.terminal import Exit, Output, complain, explain, one_by_one


@dataclass
class Run:
    """A line of JSON each, or a table at the end."""

    output: Output
    table: Table
    no: bool = False
    failed: int = 0
    complaints: list[str] = field(default_factory=list[str])

    def each(self, photos: Sequence[Path], doing: str, work: Callable[[Path], None]) -> None:
        """A photo that is refused holds none of the others up; a server that is away does."""
        from faceid_client import ApiError, FaceIdError

        def one(photo: Path) -> None:
            try:
                work(photo)
            except FaceIdError as error:
                words, status = explain(error)
                self.failed = max(self.failed, status)
                if not isinstance(error, ApiError) or status != Exit.REFUSED:
                    raise
                self.complaints.append(f"{photo}: {words}")
                if self.output.as_json:
                    self.output.document({"photo": str(photo), "error": error.problem})

        try:
            one_by_one(photos, doing, one)
        finally:
            self.tell()

    def say(self, photo: Path, answer: Mapping[str, Any], rows: Sequence[Sequence[str]]) -> None:
        if self.output.as_json:
            self.output.document({"photo": str(photo), **answer})
            return
        for row in rows:
            self.table.add_row(escape(photo.name), *row)

    def tell(self) -> None:
        if not self.output.as_json and self.table.row_count:
            for column in self.table.columns:
                column.overflow = "fold"
            self.output.console.print(self.table)
        for words in self.complaints:
            complain(words)

    def end(self) -> None:
        """Leave with what the photos together come to."""
        raise typer.Exit(self.failed or (Exit.NO if self.no else Exit.OK))
