"""The traffic's generator lies in tests/, where the integration tests find it too."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
