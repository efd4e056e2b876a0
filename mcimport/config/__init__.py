"""Reads file, environment and flags into frozen settings; makes no request."""

from mcimport.config.addresses import NotifyUrlSource
from mcimport.config.keys import data_centre
from mcimport.config.load import load, state_file
from mcimport.config.misspelt import misspelt
from mcimport.config.settings import Client, Settings, referenced_variables, with_flags, world_readable_files
from mcimport.config.template import Answers, template
