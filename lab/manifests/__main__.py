"""Writes the generated files of `deploy/kubernetes`: `make manifests`."""

from lab.manifests.files import generated


def main() -> None:
    """Writes the files that have changed, and prints their paths."""
    for path, text in generated().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"written: {path}")


if __name__ == "__main__":
    main()
