"""The core of the course generator: pure functions over a folder of Markdown lessons; no mkdocs, no torch."""
