import subprocess
import sys

import pytest

from audiomamba import audio


def test_importing_the_package_loads_nothing_heavy():
    code = (
        "import sys, audiomamba.audio as audio\n"
        "audio.FrontEnd(), audio.find\n"
        "print(*{'torch', 'numpy', 'soundfile', 'soxr', 'av'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""


def test_public_names_are_there():
    assert dir(audio) == audio.__all__ == sorted(audio.__all__)
    for name in audio.__all__:
        assert callable(getattr(audio, name))
    with pytest.raises(AttributeError, match="nothing"):
        audio.nothing  # noqa: B018
