"""XML with line numbers, for messages that point at the mistake; document types are refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn
from xml.parsers import expat

from edgebed.data.readers.defects import DefectError


@dataclass
class Element:
    """One XML element: its tag, its text, the line it starts on and its children."""

    tag: str
    line: int
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def find(self, tag: str) -> Element | None:
        """Return the first child called `tag`, if any."""
        return next(self.all(tag), None)

    def all(self, tag: str) -> Iterator[Element]:
        """Yield the children called `tag`."""
        return (child for child in self.children if child.tag == tag)

    def value(self, tag: str) -> str:
        """Return the text of the child called `tag`, without blanks; empty when absent."""
        child = self.find(tag)
        return child.text.strip() if child else ""


def parse(path: Path) -> Element:
    """Read an XML file.

    Raises:
        DefectError: unreadable, not well-formed, or with a document type (whose entities could
            name other files or grow without limit); with the line.
    """
    top = Element("", 0)
    stack = [top]
    parser = expat.ParserCreate()

    def start(tag: str, _attributes: dict[str, str]) -> None:
        element = Element(tag, parser.CurrentLineNumber)
        stack[-1].children.append(element)
        stack.append(element)

    def text(data: str) -> None:
        stack[-1].text += data

    def refuse(*_arguments: object) -> NoReturn:
        raise DefectError(f"{path}:{parser.CurrentLineNumber}", "a document type is not allowed")

    parser.StartElementHandler = start
    parser.EndElementHandler = lambda _tag: stack.pop()
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(path.read_bytes(), True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise DefectError(f"{path}:{error.lineno}", f"broken XML: {reason}") from None
    except OSError as error:
        raise DefectError(path, f"cannot be read: {error.strerror}") from None
    return top.children[0]
