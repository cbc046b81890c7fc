"""Discovery: from metadata, importing nothing, hiding nothing."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from nexus_core._model.errors import PluginConflictError, PluginNotFoundError
from nexus_core._plugins import Offer, Registry
from nexus_core._spi.capabilities import StoreRole


def test_nothing_is_imported_until_it_is_named(site: Any) -> None:
    """Discovery lists a plugin, with distribution and version, without running a line of it."""
    module = site.offer("raise RuntimeError('imported')")
    registry = Registry.discover()
    assert Offer("fake", "nexus-fake", "1.0", module) in registry.families()
    assert module not in sys.modules


def test_an_unnamed_plugin_stays_unimported_when_another_is_used(site: Any, good: str) -> None:
    """Using one plugin imports that one and no other."""
    used = site.offer(good)
    other = site.offer("raise SystemExit", family="other", distribution="nexus-other")
    assert Registry.discover().backend("fake", StoreRole.RAW).name == "fake"
    assert used in sys.modules
    assert other not in sys.modules


def test_a_registry_of_offers_never_looks_at_what_is_installed(site: Any, good: str) -> None:
    """A registry made from explicit offers does not know an installed plugin."""
    module = site.offer(good)
    registry = Registry([Offer("mine", "given", "0", module)])
    assert registry.names() == ["mine"]
    with pytest.raises(PluginNotFoundError):
        registry.plugin("fake")
    assert Registry().families() == ()


def test_two_distributions_with_one_name_conflict(site: Any, good: str) -> None:
    """A name that two distributions claim is refused, naming both, and neither is imported."""
    modules = [site.module(good) for _ in range(2)]
    site.distribution("nexus-one", "1.0", offers={"fake": modules[0]})
    site.distribution("nexus-two", "2.0", offers={"fake": modules[1]})
    registry = Registry.discover()
    with pytest.raises(PluginConflictError) as caught:
        registry.backend("fake", StoreRole.RAW)
    assert "nexus-one 1.0" in str(caught.value)
    assert "nexus-two 2.0" in str(caught.value)
    assert not set(modules) & set(sys.modules)
    assert [offer.name for offer in registry.families()].count("fake") == 2


def test_a_conflict_leaves_other_names_alone(site: Any, good: str) -> None:
    """Two distributions that fight over one name do not take a third one down."""
    module = site.module(good)
    site.distribution("nexus-one", offers={"contested": module})
    site.distribution("nexus-two", offers={"contested": module})
    site.offer(good)
    assert Registry.discover().backend("fake", StoreRole.RAW).name == "fake"


@pytest.mark.parametrize("other", ["nexus-fake", "Nexus_Fake", "nexus.fake"])
def test_an_editable_install_listed_twice_is_no_conflict(
    new_site: Callable[[], Any], good: str, other: str
) -> None:
    """The same module from the same distribution, however spelt and wherever listed, is one."""
    first, second = new_site(), new_site()
    module = first.module(good)
    first.distribution("nexus-fake", "1.0", offers={"fake": module})
    second.distribution(other, "0.9", offers={"fake": module}, suffix="egg-info")
    registry = Registry.discover()
    assert [offer.name for offer in registry.families()].count("fake") == 1
    assert registry.backend("fake", StoreRole.RAW).name == "fake"


def test_one_distribution_with_two_modules_for_a_name_conflicts(
    new_site: Callable[[], Any], good: str
) -> None:
    """Two releases of one distribution that name different modules are not silently ordered."""
    for version in ("1.0", "2.0"):
        each = new_site()
        each.distribution("nexus-fake", version, offers={"fake": each.module(good)})
    with pytest.raises(PluginConflictError, match=r"nexus-fake 1\.0 .* and nexus-fake 2\.0"):
        Registry.discover().plugin("fake")


def test_unreadable_metadata_hides_no_other_plugin(site: Any, good: str) -> None:
    """A distribution with broken metadata is passed over, and named when a name is not found."""
    site.offer(good)
    info = site.distribution("nexus-torn", offers={})
    (info / "entry_points.txt").write_bytes(b"[nexus.plugins]\ntorn \xff\xfe\n")
    registry = Registry.discover()
    assert registry.backend("fake", StoreRole.RAW).name == "fake"
    with pytest.raises(PluginNotFoundError) as caught:
        registry.plugin("torn")
    assert "nexus-torn" in caught.value.hint


def test_metadata_without_name_and_version_is_survived(site: Any, good: str) -> None:
    """A distribution that does not say what it is called is listed as unknown."""
    info = site.distribution("nexus-blank", offers={"fake": site.module(good)})
    (info / "METADATA").write_text("")
    offers = [offer for offer in Registry.discover().families() if offer.name == "fake"]
    assert [(offer.distribution, offer.version) for offer in offers] == [("unknown", "unknown")]


def test_an_unknown_name_gets_a_suggestion(site: Any, good: str) -> None:
    """A misspelt family is refused with the name that was meant."""
    site.offer(good, family="filesystems")
    with pytest.raises(PluginNotFoundError, match="did you mean 'filesystems'"):
        Registry.discover().plugin("filesystem_s")
