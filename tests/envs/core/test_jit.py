"""Kernels run without numba's memory management, so nothing would ever free what one of them allocates."""

import ast
from pathlib import Path

import pytest

import edgewise.envs

ROOT = Path(edgewise.envs.__file__).parent
FREE = {"math", "np.int64", "np.uint64", "np.float64"}
"""What a kernel may call by a dotted name: numbers come back."""
CONTAINERS = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp, ast.GeneratorExp)


def allocations(function):
    """The parts of a kernel that make an array or a container."""
    for node in ast.walk(function):
        if isinstance(node, CONTAINERS):
            yield ast.unparse(node)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = ast.unparse(node.func)
            if not {name, name.split(".")[0]} & FREE:
                yield ast.unparse(node)
        elif (
            isinstance(node, ast.Assign)
            and any(map(is_slice, node.targets))
            and not isinstance(node.value, ast.Constant)
        ):
            yield ast.unparse(node)  # one array into another: numba copies where they may overlap


def is_slice(target):
    return isinstance(target, ast.Subscript) and any(isinstance(part, ast.Slice) for part in ast.walk(target.slice))


def kernels(source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and {ast.unparse(d) for d in node.decorator_list} & {"kernel", "inlined"}:
            yield node


FOUND = [
    pytest.param(function, id=f"{path.relative_to(ROOT).with_suffix('')}.{function.name}")
    for path in sorted(ROOT.rglob("*.py"))
    for function in kernels(path.read_text())
]


@pytest.mark.parametrize("function", FOUND)
def test_a_kernel_allocates_nothing(function):
    assert list(allocations(function)) == []


def test_every_family_has_kernels():
    assert len(FOUND) > 40
    assert {param.id.split("/")[0] for param in FOUND} >= {"aoi_offload", "edge_experts", "model_caching"}


@pytest.mark.parametrize("line", ["b = np.zeros(3)", "a[:, 0] = b[0]", "b = a.copy()", "b = [1.0]"])
def test_an_allocation_is_seen(line):
    (function,) = kernels(f"@kernel\ndef write(a, b):\n    {line}\n    a[:] = 0.0\n    a[0] = math.exp(np.int64(1))\n")
    assert list(allocations(function)) == [line.removeprefix("b = ")]
