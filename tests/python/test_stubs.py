# SPDX-License-Identifier: Apache-2.0
"""The typed signatures that the build writes are those of the functions, for all of them."""

import ast
import inspect
import pathlib
import subprocess
import sys

import lanemax as lm
import pytest
from lanemax import _generated, _lanemax


@pytest.fixture(scope="module")
def stub(tmp_path_factory):
    """What tools/make_stubs.py writes, as a syntax tree; NumPy must not be needed for it."""
    tool = pathlib.Path(__file__).parents[2] / "tools" / "make_stubs.py"
    output = tmp_path_factory.mktemp("stubs") / "_generated.pyi"
    package = pathlib.Path(lm.__file__).parent
    code = (
        "import runpy, sys; sys.modules['numpy'] = None; "
        f"sys.argv = {['make_stubs.py', str(package), _lanemax.__file__, str(output)]}; "
        f"runpy.run_path({str(tool)!r}, run_name='__main__')"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert run.returncode == 0, run.stderr
    return ast.parse(output.read_text(encoding="utf-8"))


def test_stub_has_the_signatures_of_the_functions(stub):
    defined = {node.name: node.args for node in stub.body if isinstance(node, ast.FunctionDef)}
    assert sorted(defined) == sorted(_generated.__all__)
    for name, args in defined.items():
        parameters = inspect.signature(getattr(lm, name)).parameters.values()
        free = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
        named = [p for p in parameters if p.kind is p.KEYWORD_ONLY]
        assert [a.arg for a in args.args] == [p.name for p in free], name
        assert [a.arg for a in args.kwonlyargs] == [p.name for p in named], name
        defaults = [*args.defaults, *args.kw_defaults]
        given = [p.default for p in (*free, *named) if p.default is not p.empty]
        assert [ast.literal_eval(d) for d in defaults] == given, name
        for a, p in zip((*args.args, *args.kwonlyargs), (*free, *named), strict=True):
            assert ast.unparse(a.annotation) == p.annotation.replace('"', "'"), (name, a.arg)


def test_every_public_function_says_the_types_of_its_arguments():
    for name in lm.__all__:
        function = getattr(lm, name)
        if inspect.isfunction(function):
            signature = inspect.signature(function)
            untyped = [p.name for p in signature.parameters.values() if p.annotation is p.empty]
            assert not untyped, (name, untyped)
            assert signature.return_annotation is not signature.empty, name


def test_every_stub_parameter_is_accepted_by_name(stub):
    """A call with one name too many lists the names that there are."""
    for node in stub.body:
        if isinstance(node, ast.FunctionDef):
            arrays = {a.arg: [[0.5, 0.5]] for a in node.args.args}
            names = {a.arg for a in (*node.args.args, *node.args.kwonlyargs)}
            with pytest.raises(TypeError, match="none_such") as caught:
                getattr(lm, node.name)(**arrays, none_such=1)
            said = {w.strip() for w in str(caught.value).rpartition("it takes ")[2].split(",")}
            assert said <= names and "out" in said, node.name
