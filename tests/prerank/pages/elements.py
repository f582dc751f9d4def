"""What a page of figures must stand, and what a browser would see of it."""

from __future__ import annotations

from html.parser import HTMLParser

ATTACKS = (
    "</script><script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "{{ 7 * 7 }}",
    "<!--<script>",
    "' onmouseover='alert(3)",
)


class PageElements(HTMLParser):
    """Collects the elements and attributes that a browser would see, its scripts, and the JSON that the page holds."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.scripts, self.data = [], [], [], ""
        self._in_data = self._in_script = False
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        self._in_data = ("id", "content") in attrs
        self._in_script = tag == "script"
        if self._in_script:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._in_data = self._in_data and tag != "script"
        self._in_script = self._in_script and tag != "script"

    def handle_data(self, data):
        if self._in_script:
            self.scripts[-1] += data
        self.data += data if self._in_data else ""
