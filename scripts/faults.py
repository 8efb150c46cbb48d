"""What can be wrong in a way that the person at the terminal can mend: told in one line, not as a
traceback."""

from infra.child import ChildStartFailed
from infra.folder_lock import FolderInUse
from infra.keys.errors import KeyFault
from infra.refused import StoreRefused
from infra.repositories.migrations import MigrationRefused
from infra.settings_file import SettingsFileFault
from infra.tls.errors import TlsFault
from scripts.bench.no_room import NoRoom
from scripts.packages import PackageUnavailable
from scripts.service_process import ServiceNotStarted
from workers.recognition.weights import WeightsError

FAULTS: tuple[type[Exception], ...] = (
    ChildStartFailed,
    FolderInUse,
    KeyFault,
    MigrationRefused,
    NoRoom,
    PackageUnavailable,
    ServiceNotStarted,
    SettingsFileFault,
    StoreRefused,
    TlsFault,
    WeightsError,
)
