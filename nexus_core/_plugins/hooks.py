"""The hooks of one module, and every way in which pluggy would have accepted a broken one.

pluggy passes over a misspelt hook until it is asked, lets a wrapper swallow another's exception,
passes arguments that have defaults in some versions and not in others, and calls an ``async def``
without awaiting it. Each is a fault here, before anything is registered.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Collection, Iterator, Mapping
from types import FunctionType, ModuleType
from typing import Any, Final

import attrs
import pluggy

from nexus_core._plugins.faults import Fault, broken, describe, did_you_mean
from nexus_core._spi import hookspecs

_MARK: Final = f"{hookspecs.PROJECT}_impl"

# Every hook with the names of its arguments.
HOOKS: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(inspect.signature(value).parameters)
    for name, value in vars(hookspecs).items()
    if hasattr(value, f"{hookspecs.PROJECT}_spec")
}
# Every hook by the word that says what it is for: `audit`, `atom`, `observe`.
_WORDS: Final[Mapping[str, str]] = {name.split("_")[1]: name for name in HOOKS}


@attrs.frozen
class Hooks:
    """The sound hooks of a module, by name, and what is wrong with the others."""

    functions: Mapping[str, FunctionType]
    faults: tuple[Fault, ...]


def find_hooks(module: ModuleType) -> Hooks:
    """Find the functions marked as hooks, calling nothing and running no property."""
    functions: dict[str, FunctionType] = {}
    faults: list[Fault] = []
    for name, value in sorted(vars(module).items()):
        mark = inspect.getattr_static(value, _MARK, None)
        if not isinstance(mark, dict):
            if name in HOOKS and callable(value):
                faults.append(broken(f"{name} is not marked", "put @hookimpl on it, outermost"))
            continue
        found = list(_faults_of(name, value, mark))
        if not found:
            functions[name] = value
        faults += found
    if not functions and not faults:
        faults.append(
            broken("the module implements no hook", f"mark at least one of {', '.join(HOOKS)}")
        )
    return Hooks(functions, tuple(faults))


def register(name: str, module: ModuleType, hooks: Collection[str]) -> pluggy.PluginManager:
    """Give a module a manager of its own, so that no other plugin can stand before its hooks."""
    manager = _PrivateManager(hooks)
    manager.add_hookspecs(hookspecs)
    manager.register(module, name)
    manager.check_pending()
    return manager


class _PrivateManager(pluggy.PluginManager):
    """Takes exactly the hooks it is told to and looks at nothing else of the module."""

    def __init__(self, hooks: Collection[str]) -> None:
        super().__init__(hookspecs.PROJECT)
        self._hooks = frozenset(hooks)

    def parse_hookimpl_opts(self, plugin: object, name: str) -> pluggy.HookimplOpts | None:
        return super().parse_hookimpl_opts(plugin, name) if name in self._hooks else None


def ask(manager: pluggy.PluginManager, hook: str) -> object | Fault:
    """Call a hook that takes no arguments; give its one answer, ``None``, or a fault."""
    try:
        answers: list[object] = getattr(manager.hook, hook)()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001  # SystemExit too: policy is not the plugin's
        return broken(
            f"{hook} raised {describe(error)}",
            "let the hook only return its spec; engines are imported inside the factory",
        )
    return answers[0] if answers else None


def by_name(hook: str, function: FunctionType) -> Callable[..., Any]:
    """A plain callable with the hook's arguments in the hookspec's order.

    The implementation may take fewer of them, in any order: they are passed by name.
    """
    names = HOOKS[hook]
    wanted = tuple(inspect.signature(function).parameters)

    def call(*arguments: object) -> object:
        values = dict(zip(names, arguments, strict=True))
        return function(**{name: values[name] for name in wanted})

    return call


def _faults_of(name: str, value: object, mark: Mapping[str, object]) -> Iterator[Fault]:
    if name not in HOOKS:
        hint = _meant(name) or f"hooks are {', '.join(HOOKS)}"
        yield broken(f"{name} is not a hook", hint)
        return
    if not isinstance(value, FunctionType):
        yield broken(f"{name} is not a plain function", "write it with def, in the module")
        return
    if mark.get("specname") is not None:
        yield broken(f"{name} is marked with specname", "name the function as the hook instead")
    if mark.get("wrapper") or mark.get("hookwrapper"):
        yield broken(f"{name} is a wrapper", "use @hookimpl without wrapper; hooks only answer")
    elif inspect.iscoroutinefunction(value) or inspect.isasyncgenfunction(value):
        yield broken(f"{name} is async", "write it with plain def; hooks do no I/O")
    elif inspect.isgeneratorfunction(value):
        yield broken(f"{name} is a generator", "return the answer instead of yielding it")
    try:
        parameters = inspect.signature(value).parameters.values()
    except (TypeError, ValueError):
        yield broken(f"{name} hides its arguments", "take the decorators away that hide them")
        return
    for parameter in parameters:
        yield from _faults_of_argument(name, parameter)


def _meant(name: str) -> str:
    """What was meant: `nexus_audit_store` is an audit hook first, and only then like others."""
    word = name.removeprefix(f"{hookspecs.PROJECT}_").partition("_")[0]
    close = difflib.get_close_matches(word, _WORDS, n=1, cutoff=0.6)
    return did_you_mean(_WORDS[close[0]] if close else name, HOOKS)


def _faults_of_argument(hook: str, parameter: inspect.Parameter) -> Iterator[Fault]:
    known = HOOKS[hook]
    what = f"the argument {parameter.name!r} of {hook}"
    if parameter.kind is not inspect.Parameter.POSITIONAL_OR_KEYWORD:
        yield broken(f"{what} is not a plain one", "use no *, ** or /; arguments go by name")
    elif parameter.name not in known:
        offered = f"it may take {', '.join(known)}" if known else "it takes none"
        yield broken(f"{what} is not known", did_you_mean(parameter.name, known) or offered)
    elif parameter.default is not inspect.Parameter.empty:
        yield broken(f"{what} has a default", "take the default away; some pluggy never pass it")
