"""The two themes, and the colours of ours that any other theme falls back on."""

from __future__ import annotations

from textual.theme import Theme

DARK = Theme(
    name="ringbook-dark",
    primary="#4aa3ff",
    secondary="#8f7cf0",
    accent="#f0b90b",
    warning="#f0b90b",
    error="#f6465d",
    success="#2ebd85",
    foreground="#d5dbe3",
    background="#0b0e11",
    surface="#12161c",
    panel="#1b212a",
    dark=True,
    variables={
        "buy": "#2ebd85",
        "sell": "#f6465d",
        "buy-bar": "#143a30",
        "sell-bar": "#43202a",
        "buy-ground": "#0d1f1c",
        "sell-ground": "#22141a",
        "cursor": "#1c3a5e",
        "selected": "#1a2431",
        "rule": "#2a323d",
        "quiet": "#7c8794",
        "live": "#c4122f",
        "footer-key-foreground": "#f0b90b",
        "footer-background": "#12161c",
    },
)
LIGHT = Theme(
    name="ringbook-light",
    primary="#0b62d6",
    secondary="#5b45c9",
    accent="#9a6700",
    warning="#9a6700",
    error="#cf222e",
    success="#0a7f4f",
    foreground="#1c2128",
    background="#fbfcfd",
    surface="#f1f4f7",
    panel="#e4e9ee",
    dark=False,
    variables={
        "buy": "#08794a",
        "sell": "#c4162a",
        "buy-bar": "#c9ecdc",
        "sell-bar": "#f8d3d6",
        "buy-ground": "#e9f6ef",
        "sell-ground": "#fbecee",
        "cursor": "#b6d4fb",
        "selected": "#dde6f0",
        "rule": "#c3ccd6",
        "quiet": "#66707c",
        "live": "#c4122f",
        "footer-key-foreground": "#9a6700",
        "footer-background": "#f1f4f7",
    },
)


def fallbacks(dark: bool) -> dict[str, str]:
    """Our own colour names for a theme that does not define them."""
    return dict((DARK if dark else LIGHT).variables)
