"""Reads YAML that people write, as UTF-8. A repeated key is an error."""

from pathlib import Path
from typing import Any

import yaml


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, except that it rejects a repeated key: PyYAML silently uses its last value."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is there twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def parse_yaml(text: str) -> Any:
    """The value of a document. Raises `yaml.YAMLError`."""
    try:
        return yaml.load(text, _Loader)  # noqa: S506 (a safe one)
    except RecursionError as error:
        raise yaml.YAMLError("is nested too deeply") from error
    # a date that no calendar has, or a number that is too long
    except (ValueError, OverflowError) as error:
        raise yaml.YAMLError(str(error)) from error


def read_yaml(file: Path) -> Any:
    """The value of a file. Raises `OSError` and `yaml.YAMLError`."""
    return parse_yaml(text_of(file))


def text_of(file: Path) -> str:
    """The text of a file, without a byte order mark. Raises `OSError`, and `yaml.YAMLError` for what is not UTF-8."""
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise yaml.YAMLError(f"line {line}: not UTF-8 (byte {error.start}): save the file as UTF-8") from error
