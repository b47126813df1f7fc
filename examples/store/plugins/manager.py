"""Loads the plugins by name. One that fails is left out; the store starts without it."""

from __future__ import annotations

import importlib
import logging

import pluggy

from plugins import hookspecs
from settings import Settings

log = logging.getLogger("store.plugins")


def load_plugins(settings: Settings) -> pluggy.PluginManager:
    """Imports `plugins.NAME` for each name of the settings, registers it and calls its store_setup."""
    manager = pluggy.PluginManager("store")
    manager.add_hookspecs(hookspecs)
    for name in settings.plugins:
        try:
            manager.register(importlib.import_module(f"plugins.{name}"), name=name)
            others = [plugin for other, plugin in manager.list_name_plugin() if other != name]
            manager.subset_hook_caller("store_setup", others)(settings=settings)
        except Exception:
            log.exception("plugin %s could not be loaded", name)
            if manager.has_plugin(name):
                manager.unregister(name=name)
        else:
            log.info("plugin %s loaded", name)
    return manager
