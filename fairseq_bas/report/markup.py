"""Pieces of HTML in which every text is escaped."""

from collections.abc import Sequence
from html import escape


class Markup(str):
    """HTML that is safe as it is; any other text is escaped where it is put into a page."""


def text(value: object) -> Markup:
    """Escape a text, unless it is `Markup`.

    Args:
        value: any; control characters, which HTML does not allow, become replacement characters.

    Example:
        >>> text("<script>"), text(Markup("<b>"))
        ('&lt;script&gt;', '<b>')
    """
    if isinstance(value, Markup):
        return value
    plain = "".join(
        char if char in "\t\n" or char.isprintable() or char == "\u00a0" else "\ufffd"
        for char in str(value)
    )
    return Markup(escape(plain))


def tag(name: str, content: object = "", **attributes: object) -> Markup:
    """Return an element.

    Args:
        name: of the element.
        content: `Markup`, or text to escape.
        **attributes: an underscore at the end of a name is dropped, others become hyphens; None
            leaves an attribute out.

    Example:
        >>> tag("td", "a < b", class_="number")
        '<td class="number">a &lt; b</td>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(str(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    return Markup(f"<{name}{given}>{text(content)}</{name}>")


def joined(parts: Sequence[object], between: str = "") -> Markup:
    """Return parts one after the other, texts escaped.

    Args:
        parts: `Markup` or text.
        between: HTML between them.
    """
    return Markup(between.join(text(part) for part in parts))


def table(
    header: Sequence[object],
    rows: Sequence[Sequence[object]],
    caption: str,
    numbers: bool = True,
) -> Markup:
    """Return a table in a frame that scrolls by itself; the first column names its row.

    Args:
        header: names of the columns.
        rows: cells.
        caption: what the table is, for those who do not see where it stands.
        numbers: align all but the first column to the right.
    """
    head = joined([tag("th", cell, scope="col") for cell in header])
    body = joined(
        [
            tag("tr", joined([tag("th", row[0], scope="row"), *(tag("td", c) for c in row[1:])]))
            for row in rows
        ],
        "\n",
    )
    content = joined(
        [
            tag("caption", caption),
            tag("thead", tag("tr", head)),
            tag("tbody", body),
        ]
    )
    element = tag("table", content, class_="numbers" if numbers else None)
    return tag("div", element, class_="scroll", tabindex="0", role="region", aria_label=caption)


def details(summary: object, content: object) -> Markup:
    """Return content that opens under a summary.

    Args:
        summary: always shown.
        content: `Markup` or text.
    """
    return tag("details", joined([tag("summary", summary), content]))
