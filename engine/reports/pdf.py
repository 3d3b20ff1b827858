"""A report as PDF: the page as it is printed, by WeasyPrint (the extra ``reports``)."""

from __future__ import annotations

import re
from typing import Any

from engine.core.errors import ConfigError
from engine.reports import html
from engine.reports.report import Report

_COLOUR = re.compile(r"--([a-z0-9]+):\s*(#[0-9a-f]{6})")


def printed_colours() -> dict[str, str]:
    """The theme's colours on paper."""
    return dict(_COLOUR.findall(html.stylesheet().split("@media print", 1)[1]))


def printed(report: Report, *, title: str | None = None) -> str:
    """The page with its colours written out: drawings know nothing of a document's style sheet there.

    Args:
        report: What it says.
        title: The heading.
    """
    colours = printed_colours()
    return re.sub(
        r"var\(--([a-z0-9]+)\)", lambda m: colours[m[1]], html.page(report, title=title, script=False)
    )


def write(report: Report, target: str, *, title: str | None = None) -> None:
    """Writes the PDF.

    Args:
        report: What it says.
        target: The file.
        title: The heading.

    Raises:
        ConfigError: WeasyPrint, or the Pango library that it draws letters with, is not installed.
        OSError: The file cannot be written.
    """
    _weasyprint().HTML(string=printed(report, title=title), url_fetcher=_refuse).write_pdf(target)


def _refuse(url: str, *_: Any, **__: Any) -> Any:
    raise ValueError(f"a report is of itself, and asks for nothing: {url}")


def _weasyprint() -> Any:
    try:
        import weasyprint
    except ImportError:
        raise ConfigError("a PDF needs the extra 'reports': pip install 'ringbook[reports]'") from None
    except OSError as error:
        raise ConfigError(
            f"a PDF needs Pango (Debian: libpangoft2-1.0-0 libharfbuzz-subset0; macOS: pango): {error}"
        ) from None
    return weasyprint
