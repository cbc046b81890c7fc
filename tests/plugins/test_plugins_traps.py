"""Every way in which a plugin can be broken has an error of its own that names who broke it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from nexus_core._model.errors import (
    PluginContractError,
    PluginError,
    PluginIncompatibleError,
    PluginLoadError,
    PluginNotFoundError,
)
from nexus_core._plugins import Offer, Registry
from nexus_core._spi.capabilities import StoreRole

IMPORT = "from nexus_core import spi\nimport attrs\n"


def refused(site: Any, source: str, kind: type[PluginError], text: str) -> str:
    """Offer the source as a plugin; it must be refused in this way, by every method."""
    site.offer(source)
    registry = Registry.discover()
    problems = registry.check("fake")
    assert problems
    for method in (registry.plugin, registry.backends, registry.atomizers, registry.extension):
        with pytest.raises(kind) as caught:
            method("fake")
        assert type(caught.value) is kind
        assert caught.value.distribution == "nexus-fake 1.0"
        assert "nexus-fake 1.0" in caught.value.message
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    whole = "\n".join(f"{each.what} {each.fix}" for each in problems)
    assert text in whole, whole
    assert {each.code for each in problems} >= {kind.code}
    return whole


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("raise ValueError('no engine here')", "ValueError: no engine here"),
        ("import nexus_engine_that_is_absent", "ModuleNotFoundError"),
        ("import sys\nsys.exit('leaving')", "SystemExit: leaving"),
        ("raise GeneratorExit", "GeneratorExit"),
        ("def broken(:\n", "SyntaxError"),
        ("class E(Exception):\n  def __str__(self): raise OSError\nraise E", "cannot be shown"),
        ("raise ValueError('one:\\n  two\\n')", "ValueError: one: two, at nexus_fake_"),
        ("\nimport json\njson.loads('{')", "py line 3"),
        ("raise BaseExceptionGroup('many', [SystemExit(1)])", "many"),
    ],
)
def test_an_import_that_fails_is_a_load_error(site: Any, source: str, text: str) -> None:
    """Whatever a plugin raises while it is imported, SystemExit too, is one PluginLoadError."""
    refused(site, source, PluginLoadError, text)


def test_a_keyboard_interrupt_during_an_import_is_not_swallowed(site: Any) -> None:
    """The operator's Ctrl-C is no fault of the plugin."""
    site.offer("raise KeyboardInterrupt")
    with pytest.raises(KeyboardInterrupt):
        Registry.discover().plugin("fake")


def test_a_keyboard_interrupt_in_a_hook_is_not_swallowed(site: Any, good: str) -> None:
    """Neither is it while a hook is asked for its spec."""
    site.offer(good.replace("    return", "    raise KeyboardInterrupt\n    return"))
    with pytest.raises(KeyboardInterrupt):
        Registry.discover().plugin("fake")


def test_an_async_factory_is_refused(site: Any, good: str) -> None:
    """A factory that would return a coroutine in place of a backend is refused."""
    source = good.replace("lambda config, runtime: None", "build")
    source += "\n\nasync def build(config, runtime): ...\n"
    refused(site, source, PluginContractError, "factory of nexus_raw_store is async")


def test_one_broken_plugin_does_not_touch_another(site: Any, good: str) -> None:
    """A plugin that cannot be imported does not keep its neighbour from working."""
    site.offer("raise SystemExit", family="broken", distribution="nexus-broken")
    site.offer(good)
    registry = Registry.discover()
    with pytest.raises(PluginLoadError):
        registry.plugin("broken")
    assert registry.check("fake") == []


def test_a_refusal_says_the_same_each_time(site: Any) -> None:
    """A plugin that failed once is not run again, and each refusal is a new error."""
    site.offer("import sys\nsys.nexus_runs = getattr(sys, 'nexus_runs', 0) + 1\nraise OSError('x')")
    registry = Registry.discover()
    caught = []
    for _ in range(2):
        with pytest.raises(PluginLoadError) as each:
            registry.plugin("fake")
        caught.append(each.value)
    assert sys.nexus_runs == 1  # type: ignore[attr-defined]
    del sys.nexus_runs  # type: ignore[attr-defined]
    assert str(caught[0]) == str(caught[1])
    assert caught[0] is not caught[1]


@pytest.mark.parametrize(
    "value", ["{0}:hooks", "{0} [extra]", "{0}:", ".{0}", "{0}.", "9{0}", "a b"]
)
def test_an_entry_point_that_names_no_module_is_refused(site: Any, good: str, value: str) -> None:
    """The entry point's value is a module, not an object in it, and nothing is imported else."""
    module = site.module(good)
    site.distribution("nexus-fake", offers={"fake": value.format(module)})
    with pytest.raises(PluginContractError, match="not a module"):
        Registry.discover().plugin("fake")
    assert module not in sys.modules


def test_a_module_that_replaces_itself_is_refused(site: Any) -> None:
    """An object put in a module's place is refused; its properties are not run."""
    source = (
        "import sys\n"
        "class Lazy:\n"
        "    @property\n"
        "    def nexus_raw_store(self): raise SystemExit('property was run')\n"
        "sys.modules[__name__] = Lazy()\n"
    )
    refused(site, source, PluginContractError, "not a module")


def test_an_unusable_family_name_is_refused(site: Any, good: str) -> None:
    """A family's name obeys the grammar of names."""
    site.distribution("nexus-fake", offers={"Fake!": site.module(good)})
    with pytest.raises(PluginContractError, match="not usable"):
        Registry.discover().plugin("Fake!")


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (("def nexus_raw_store()", "def nexus_raw_stor()"), "did you mean 'nexus_raw_store'"),
        (
            (
                "@spi.hookimpl",
                "@spi.hookimpl(optionalhook=True)\ndef nexus_rawstore(): ...\n@spi.hookimpl",
            ),
            "did you mean 'nexus_raw_store'",
        ),
        (("nexus_raw_store()", "nexus_audit_store()"), "did you mean 'nexus_audit_sink'"),
        (("nexus_raw_store()", "nexus_vectors_sink()"), "did you mean 'nexus_vector_store'"),
        (("nexus_raw_store()", "nexus_atomiser()"), "did you mean 'nexus_atomizer'"),
        (("@spi.hookimpl", ""), "is not marked"),
        (("@spi.hookimpl", "@spi.hookimpl(wrapper=True)"), "is a wrapper"),
        (("@spi.hookimpl", "@spi.hookimpl(hookwrapper=True)"), "is a wrapper"),
        (("@spi.hookimpl", "@spi.hookimpl(specname='nexus_audit_sink')"), "specname"),
        (("def nexus", "async def nexus"), "is async"),
        (("nexus_raw_store()", "nexus_raw_store(*args)"), "not a plain one"),
        (("nexus_raw_store()", "nexus_raw_store(**kwargs)"), "not a plain one"),
        (("nexus_raw_store()", "nexus_raw_store(context)"), "is not known"),
        (("    return spi", "    yield spi"), "is a generator"),
        (("@spi.hookimpl", "import functools\n@spi.hookimpl\n@functools.cache"), "plain function"),
        (("    return", "    raise SystemExit('no')\n    return"), "SystemExit: no"),
        (("    return", "    raise OSError('engine')\n    return"), "OSError: engine"),
        (("    return", "    return None\n    return"), "returned nothing"),
        (("    return", "    return {}\n    return"), "object of type dict, not a BackendSpec"),
        (("    return", "    return [1, 2]\n    return"), "not a BackendSpec"),
        (('name="NAME"', 'name="other"'), "not named as its entry point"),
        (("spi.StoreRole.RAW", "spi.StoreRole.AUDIT"), "another role"),
        (("spi.StoreRole.RAW", "'raw'"), "another role"),
        (("spi.RawCapabilities()", "spi.AtomCapabilities()"), "AtomCapabilities"),
        (("spi.RawCapabilities()", "None"), "declares nothing"),
        (("RawCapabilities()", "RawCapabilities(max_key_bytes=0)"), "'max_key_bytes'"),
        (("RawCapabilities()", "RawCapabilities(max_object_bytes=True)"), "'max_object_bytes'"),
        (("RawCapabilities()", "RawCapabilities(copy='yes')"), "'copy'"),
        (("spi.Isolation.PREFIX", "'prefix'"), "is no Isolation"),
        (("spi.Durability.PROCESS_CRASH", "'power_loss'"), "is no Durability"),
        (("lambda config, runtime: None", "'factory'"), "cannot be called"),
        (("lambda config, runtime: None", "lambda config: None"), "does not take 2"),
        (("lambda config, runtime: None", "spi.RawBackend"), "a class that lacks check, close, "),
        (("factory=", "provision=lambda: (), factory="), "does not take 2"),
        (("factory=", "provision=7, factory="), "cannot be called"),
        (('"Objects for tests."', "7"), "one line"),
        (('"Objects for tests."', '""'), "one line"),
        (('"Objects for tests."', '"a\\nb"'), "one line"),
        (("config=Settings", "config=dict"), "not a BackendConfig"),
        (("config=Settings", "config=Settings(root='x')"), "not a BackendConfig"),
        (("factory=", "api_version='1.0', factory="), "not a pair of numbers"),
        (("factory=", "api_version=(True, False), factory="), "not a pair of numbers"),
    ],
)
def test_a_broken_registration_is_a_contract_error(
    site: Any, good: str, change: tuple[str, str], text: str
) -> None:
    """Each departure from the rules of registration is refused and said in words of its own."""
    assert change[0] in good
    refused(site, good.replace(*change, 1), PluginContractError, text)


def test_a_module_without_hooks_is_refused(site: Any) -> None:
    """A plugin that offers nothing at all is a mistake, not an empty plugin."""
    refused(site, "answer = 42", PluginContractError, "implements no hook")


def test_a_marked_class_is_refused(site: Any) -> None:
    """pluggy passes over a marked class in silence; the registry does not."""
    source = IMPORT + "@spi.hookimpl\nclass nexus_raw_store: ...\n"
    refused(site, source, PluginContractError, "plain function")


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("context, action, ids=()", "has a default"),
        ("context, action, *, ids", "not a plain one"),
        ("context, /, action", "not a plain one"),
        ("context, actoin", "did you mean 'action'"),
        ("self, context", "is not known"),
    ],
)
def test_arguments_that_pluggy_treats_by_version_are_refused(
    site: Any, arguments: str, text: str
) -> None:
    """Defaults, unknown names and unusual kinds of argument are refused under any pluggy."""
    source = IMPORT + f"@spi.hookimpl\ndef nexus_authorize({arguments}): return None\n"
    refused(site, source, PluginContractError, text)


@pytest.mark.parametrize(
    ("version", "text"),
    [("(0, 9)", "too old"), ("(1, 1)", "too new"), ("(2, 0)", "too new")],
)
def test_another_interface_version_is_incompatible(
    site: Any, good: str, version: str, text: str
) -> None:
    """A spec for another major, or a later minor, version of the interface is refused."""
    source = good.replace("factory=", f"api_version={version}, factory=")
    refused(site, source, PluginIncompatibleError, text)


def test_everything_wrong_is_said_at_once(site: Any, good: str) -> None:
    """One look at a plugin reports all its faults, of marks and of specs alike."""
    source = (
        good.replace('name="NAME"', 'name="x"').replace("PREFIX", "FILE").replace("RAW,", "AUDIT,")
        + "@spi.hookimpl\ndef nexus_obseve(event): ...\n"
        + "@spi.hookimpl\nasync def nexus_authorize(context): ...\n"
        + "@spi.hookimpl\ndef nexus_embedder(): return None\n"
    )
    text = refused(site, source, PluginContractError, "did you mean 'nexus_observe'")
    for each in ("is async", "not named as", "another role", "not a list of EmbedderSpec"):
        assert each in text
    with pytest.raises(PluginContractError, match=r"and 4 more; `nexus plugins check fake`"):
        Registry.discover().plugin("fake")


def test_a_hook_that_hides_its_arguments_is_refused(site: Any) -> None:
    """Arguments that cannot be read cannot be checked, so such a hook is refused."""
    source = IMPORT + "@spi.hookimpl\ndef nexus_observe(event): ...\n"
    source += "nexus_observe.__signature__ = 'none'\n"
    refused(site, source, PluginContractError, "hides its arguments")


def test_a_factory_written_in_c_is_accepted(site: Any, good: str) -> None:
    """A factory whose arguments only the call can tell is left for the call."""
    site.offer(good.replace("lambda config, runtime: None", "dict"))
    assert Registry.discover().check("fake") == []


@pytest.mark.parametrize("option", ["tryfirst", "trylast", "optionalhook"])
def test_harmless_marks_are_accepted(site: Any, good: str, option: str) -> None:
    """Order among plugins means nothing where each has a manager of its own."""
    site.offer(good.replace("@spi.hookimpl", f"@spi.hookimpl({option}=True)"))
    assert Registry.discover().check("fake") == []


def test_no_plugin_can_intercept_another(new_site: Callable[[], Any], good: str) -> None:
    """A plugin that marks every hook tryfirst changes nothing of what another one answers."""
    thief = good + (
        "@spi.hookimpl(tryfirst=True)\ndef nexus_authorize(context, action, ids): return None\n"
    )
    site = new_site()
    site.offer(thief, family="thief", distribution="nexus-thief")
    site.offer(
        good + "@spi.hookimpl\ndef nexus_authorize(context, action, ids): return 'no'\n",
    )
    registry = Registry.discover()
    registry.plugin("thief")
    assert registry.backend("fake", StoreRole.RAW).name == "fake"
    (authorize,) = registry.extension("fake").authorize
    assert authorize(None, "raw.put", []) == "no"  # type: ignore[arg-type]


def test_a_family_without_the_role_is_not_found(site: Any, good: str) -> None:
    """Asking for a role that a plugin does not do names the roles it does."""
    site.offer(good)
    with pytest.raises(PluginNotFoundError, match="its roles: raw") as caught:
        Registry.discover().backend("fake", StoreRole.AUDIT)
    assert caught.value.distribution == "nexus-fake 1.0"
    with pytest.raises(PluginNotFoundError, match="is no extension"):
        Registry.discover().extension("fake")


def test_a_missing_module_is_named(site: Any) -> None:
    """An offer whose module is gone is a load error that says so."""
    registry = Registry([Offer("fake", "nexus-fake", "1.0", "nexus_fake_gone")])
    with pytest.raises(PluginLoadError, match="nexus_fake_gone"):
        registry.plugin("fake")
