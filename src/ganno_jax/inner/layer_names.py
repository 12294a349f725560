"""What the paths of parameters say: which leaves belong together, in what order layers follow, of what kind they are.

A path is the tuple of the names that lead to a leaf, such as `("block0", "conv0", "kernel")`.
"""

import re
from typing import Any

import jax

Path = tuple[str, ...]


def path_names(path: tuple[Any, ...]) -> Path:
    """The names along a path of `jax.tree_util`."""
    # Variables of NNX and boxes of Linen hold their array as an attribute `value`, which is no module.
    last = path[-1] if len(path) > 1 else None
    if isinstance(last, jax.tree_util.GetAttrKey) and last.name == "value":
        path = path[:-1]
    names = (str(getattr(k, "key", getattr(k, "name", getattr(k, "idx", k)))) for k in path)
    return tuple(names) or ("params",)


# Places of the parts of a network, by the names before the first number; what is not listed stands at 0.
_OUTER = (
    (-2, r"(\w*embed\w*|stem\w*|input(s|_?proj\w*|_?layer)?\d*|wte|wpe|shared|patch\w*)$"),
    (-1, r"encoder"),
    (1, r"decoder(?!_out)"),
    (2, r"(ln_f|norm|final\w*norm|\w*norm_f|ln_post|pooler)$"),
    (3, r"(head|\w*_head|logits|output|classifier|cls|decoder_out)\w*"),
)
# The same within a block: attention, its output, attention to another sequence, its output, then the dense layers.
_INNER = (
    (-3, r"(attention|self_?attn|self_?attention|attn|selfattention)\w*$"),
    (-2, r"(\w*cross\w*|encdec\w*|encoder_attn)$"),
    (
        -1,
        r"(q|k|v|qkv|query|key|value|self|wi\w*|(q|k|v|qkv|gate|up)_proj|c_attn|c_fc|fc_?1|lin_?1)$",
    ),
    (1, r"(mlp|ffn|ff|feed_?forward|densereludense|intermediate)\w*$"),
    (2, r"(o|out|wo|output|(o|c|out|down)_proj|fc_?2|lin_?2)$"),
)


def order_of(name: str) -> tuple[Any, ...]:
    """Sorts layers, named by their path, as data passes them: inputs, numbered blocks as people count, outputs.

    Within a block attention comes before the dense layers and what reads before what writes, as in BERT, GPT-2, Llama
    and T5. "block2" stands before "block10".
    """
    keys, in_block = [], False
    for part in name.split("/"):
        low = part.lower()
        place = _place(low, _INNER if in_block else _OUTER)
        keys.append((place, *_counted(low)))
        in_block |= bool(re.search(r"\d", low))
    return tuple(keys)


def _place(part: str, table: tuple[tuple[int, str], ...]) -> int:
    for place, pattern in table:
        if re.match(pattern, part):
            return place
    return 0


def _counted(part: str) -> tuple[Any, ...]:
    pieces = (p for p in re.split(r"(\d+)", part) if p)
    return tuple((0, int(p), "") if p.isdigit() else (1, 0, p) for p in pieces)


def is_norm(name: str, leaf_names: set[str]) -> bool:
    """Whether a module is a normalization."""
    last = name.rsplit("/", 1)[-1].lower()
    named = "norm" in last or re.match(r"(bn|ln)(\d|_|$)", last)
    return bool(named) or (leaf_names <= {"scale", "bias"} and "scale" in leaf_names)


def norm_owner(norm: str, names: list[str]) -> str | None:
    """The layer whose outputs a norm normalizes: same parent, same number, else the one before it."""
    parent, _, last = norm.rpartition("/")
    siblings = [n for n in names if n.rpartition("/")[0] == parent]
    number = re.search(r"(\d+)$", last)
    if number:
        same = [n for n in siblings if re.search(rf"(?<!\d){number.group(1)}$", n)]
        if same:
            return same[0]
    before = [n for n in siblings if order_of(n) < order_of(norm)] or siblings
    if before:
        return before[-1]
    within = [n for n in names if n.startswith(parent + "/")]  # modules of the same block
    return within[-1] if within else None


def is_low_rank_factor(path: Path) -> bool:
    """Whether a leaf is one of the two factors of a low-rank change (LoRA), one of which starts at zero.

    By name: `lora_a`, `kernel_lora_b`, `A`; below a module named after LoRA or an adapter also `a`, `up` and `down`.
    """
    *parents, last = path
    if re.fullmatch(r"(\w+_)?lora_?(a|b|up|down)", last.lower()) or last in ("A", "B"):
        return True
    inside = any(re.search(r"lora|adapter", name.lower()) for name in parents)
    return inside and last.lower() in ("a", "b", "up", "down")


def vector_owner(vector: str, matrices: list[str]) -> str | None:
    """The matrix that a vector beside it belongs to in a flat dict: `b1` to `w1`, `bias` to `kernel`."""
    parent = vector.rpartition("/")[0]
    siblings = [n for n in matrices if n.rpartition("/")[0] == parent]
    same = [n for n in siblings if _bare(n) == _bare(vector)]
    return same[0] if len(same) == 1 else None


def _bare(name: str) -> str:
    """What remains of a leaf's name without the words for weights and biases."""
    last = name.rpartition("/")[2].lower()
    return re.sub(r"kernel|weights?|bias(es)?|scale|(?<![a-z])[wb](?![a-z])", "", last).strip("_")


def kind_of(path: Path, num_axes: int) -> str:
    """What a leaf is: "dense", "conv", "attention", "embedding", or "vector" with at most one axis.

    Kernels of three axes are those of attention heads, or of a one-dimensional convolution where the path says so.
    """
    names = "/".join(path).lower()
    if num_axes <= 1:
        return "vector"
    if re.search(r"(^|/)(\w*embed\w*|wte|wpe|shared)(/|$)", names) and "patch" not in names:
        return "embedding"
    if num_axes >= 4 or (num_axes == 3 and re.search(r"(?<!c_)conv|patch", names)):
        return "conv"
    if re.search(r"(attn|attention)", names) or (
        num_axes == 3 and re.search(r"/(query|key|value|out|q|k|v|o)/", "/" + names)
    ):
        return "attention"
    return "dense" if num_axes == 2 else "other"
