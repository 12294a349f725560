"""Extension of the reference: a class without an `Attributes:` section gets one, from its fields and their comments."""

import re

import griffe


class Fields(griffe.Extension):
    """What stands in a comment beside a field, or above it, is said of it; and its default."""

    def on_class_members(self, *, cls: griffe.Class, **_) -> None:
        """Add the section below the docstring."""
        if cls.docstring is None or "\nAttributes:\n" in cls.docstring.value:
            return
        fields = [
            member
            for member in cls.members.values()
            if isinstance(member, griffe.Attribute)
            and member.annotation is not None
            and "property" not in member.labels
            and not member.name.startswith("_")
        ]
        if fields:
            cls.docstring.value += "\n\nAttributes:\n" + "\n".join(map(_line, fields))


def _line(field: griffe.Attribute) -> str:
    said = "; ".join(part for part in (_comment(field), _default(field)) if part)
    return f"  {field.name}: {said or 'no default'}."


def _comment(field: griffe.Attribute) -> str:
    lines = field.parent.module.lines_collection[field.filepath]
    first, last = field.lineno - 1, field.endlineno
    beside = [re.search(r"  # (.*)", line) for line in lines[first:last]]
    above = []
    while first > 0 and (found := re.match(r" *# (.*)", lines[first - 1])):
        above.insert(0, found[1])
        first -= 1
    return " ".join([*above, *(found[1] for found in beside if found)]).rstrip(".")


def _default(field: griffe.Attribute) -> str:
    value = "" if field.value is None else str(field.value)
    if "field(" in value:
        found = re.search(r"\bdefault(_factory)?=(.*)\)$", value)
        value = found[2] + ("()" if found[1] else "") if found else ""
    return f"default `{value}`" if value else ""
