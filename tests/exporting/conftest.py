import pytest
from exporting_models import Small, small_checkpoint

import audiomamba
from audiomamba import checkpoints


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """Exported by way of a folder, as users do."""
    base = tmp_path_factory.mktemp("small")
    checkpoint = small_checkpoint()
    checkpoints.save(base / "model", checkpoint)
    exported = audiomamba.export(base / "model", base / "exported")
    return Small(checkpoint, base / "model", exported)
