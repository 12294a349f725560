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
    (-2, r"(pos(itions?|_\w+)?|\w+_token)$"),
    (-1, r"encoder"),
    (1, r"decoder(?!_out)"),
    (2, r"(ln_f|norm|final\w*norm|\w*norm_f|ln_post|pooler)$"),
    (3, r"(head|\w*_head|logits|output|classifier|cls|decoder_out)\w*"),
)
# The same within a block: its first norm, attention, attention to another sequence, the dense layers, its last norm; of
# each, what reads before what writes.
_INNER = (
    (-4, r"(input_?\w*norm|pre_?(attn|attention|self)\w*norm|layer_norm|(layer_?)?norm_?1|ln_?1)$"),
    (-3, r"(self_?attn|attn|self_?attention|attention|multi_?head)\w*$"),
    (-2, r"(\w*cross\w*|encdec\w*|encoder_attn)$"),
    (
        -1,
        r"(q|k|v|qkv|query|key|value|self|wi\w*|(q|k|v|qkv|gate|up)_proj|c_attn|c_fc|fc_?1|lin_?1)$",
    ),
    (1, r"(mlp|ffn|ff|feed_?forward|densereludense|intermediate)\w*$"),
    (2, r"(o|out|wo|output|(o|c|out|down)_proj|fc_?2|lin_?2)$"),
    (3, r"(norm|post_?(mlp|ff|feed)\w*norm)$"),
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
        in_block |= bool(re.search(r"\d|block|layers", low))
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


def norm_owner(norm: str, names: list[str], alike: list[str]) -> str | None:
    """The layer whose outputs a norm normalizes: same parent, same number, else the one before it in its parent.

    Where that is not possible, the one after it: for the first norm of a block, and for one behind a stack of layers.

    Args:
      norm: name of the norm.
      names: of the layers that are no norms, in order.
      alike: those of them that are stacked as the norm is.
    """
    parent, _, last = norm.rpartition("/")
    number = re.search(r"(\d+)$", last)
    if number:
        siblings = [n for n in alike if n.rpartition("/")[0] == parent]
        same = [n for n in siblings if re.search(rf"(?<!\d){number.group(1)}$", n)]
        if same:
            return same[0]
    within = [n for n in names if not parent or n.startswith(f"{parent}/")]
    before = [n for n in within if order_of(n) < order_of(norm)]
    nearest = (*before[-1:], *within[len(before) :], *reversed(before))
    return next((n for n in nearest if n in alike), None)


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
    same = [n for n in siblings if bare(n) == bare(vector)]
    return same[0] if len(same) == 1 else None


def join_vectors_to_layers(
    names: list[str], paths: list[Path], kinds: list[str], stacks: list[tuple[str, int]]
) -> list[str]:
    """The layer of each leaf, with norms and lone vectors in the layers that they belong to.

    Args:
      names: of the module of each leaf.
      paths: of the leaves.
      kinds: of the leaves, as of `kind_of`.
      stacks: of each leaf, from `stacks.find_stacks`.
    """
    parts: dict[str, set[str]] = {}
    matrices = set()
    for name, path, kind in zip(names, paths, kinds, strict=True):
        parts.setdefault(name, set()).add(path[-1])
        matrices |= {name} if kind != "vector" else set()
    stack_of = dict(zip(names, stacks, strict=True))
    ordered = sorted(parts, key=order_of)
    norms = [n for n in ordered if n not in matrices and is_norm(n, parts[n])]
    others = [n for n in ordered if n not in norms]
    among = [n for n in others if n in matrices]
    owner: dict[str, str | None] = {}
    for name in parts:
        alike = [n for n in others if stack_of[n] == stack_of[name]]
        if name in norms:
            owner[name] = norm_owner(name, others, alike)
        elif name not in matrices and parts[name] == {name.rpartition("/")[2]}:
            owner[name] = vector_owner(name, among)
        elif parts[name] == {"bias"}:  # a module's own, added to what the modules in it give
            within = [n for n in among if n in alike and n.startswith(f"{name}/")]
            owner[name] = within[-1] if within else None
    return [owner.get(n) or n for n in names]


def bare(name: str) -> str:
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
