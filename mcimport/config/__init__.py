"""Reads file, environment and flags into frozen settings; makes no request."""

from mcimport.config.addresses import NotifyUrlSource
from mcimport.config.engine import EngineSettings
from mcimport.config.file_permissions import world_readable_files
from mcimport.config.keys import data_centre
from mcimport.config.load import load
from mcimport.config.schema import MailchimpSettings, OmetriaSettings, Retry
from mcimport.config.settings import Client, Settings, with_flags
from mcimport.config.template import Answers, template

__all__ = [
    "Answers",
    "Client",
    "EngineSettings",
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
