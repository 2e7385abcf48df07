"""The version of this release; pyproject.toml and the user agent read it here."""

VERSION = "0.1.0"
