"""Reads file, environment and flags into frozen settings; makes no request."""

from mcimport.config.engine import EngineKind, EngineSettings
from mcimport.config.file_permissions import world_readable_files
from mcimport.config.keys import KeySource, data_centre
from mcimport.config.load import load
from mcimport.config.notify_urls import NotifyUrlSource
from mcimport.config.schema import MailchimpSettings, OmetriaSettings, Retry
from mcimport.config.settings import Client, Settings, with_flags
from mcimport.config.template import Answers, template

__all__ = [
    "Answers",
    "Client",
    "EngineKind",
    "EngineSettings",
    "KeySource",
    "MailchimpSettings",
    "NotifyUrlSource",
    "OmetriaSettings",
    "Retry",
    "Settings",
    "data_centre",
    "load",
    "template",
    "with_flags",
    "world_readable_files",
]
