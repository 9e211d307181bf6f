"""``python -m edgewise.cli`` is the `edgewise` command."""

import sys

from .main import main

sys.exit(main())
