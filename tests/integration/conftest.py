"""Puts this folder on sys.path: its helper modules are imported by name."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
