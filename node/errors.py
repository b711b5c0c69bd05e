"""What can go wrong, as a tree. Every message is a sentence for a person: what happened, and what to do.

BetzError
├── SettingsError        the settings file is wrong: names the key
├── CertificateError     certificate, key or authorities cannot be used: the reason
├── StudyError           what arrived cannot be analysed as a study: the reason
│   └── MixedStudyError  two patients, or two studies, where one was expected
├── SpoolError           an instance could not be stored; carries the C-STORE status
├── JournalError         the journal cannot be read or written now: no room, read-only, locked
├── DeliveryError        a result could not be sent
│   ├── RefusedError     the peer refused for good: sending again will not help
│   │   └── UnsupportedError  it does not take objects of that SOP class
│   └── UnreachableError no association could be had, or it was lost
├── ControlError         a study cannot be one of the site's own controls: the reason
└── JobError             an analysis ended without a result: time, memory, its own reason
    └── CrashError       its process was ended by a signal, or the disk refused; another start may succeed

Errors are handled in two places: the engine (per marker) and the worker (per job). The command line prints the sentence and ends
with status 1; no traceback reaches a person.
"""


class BetzError(Exception):
    """The root. `str(error)` is one sentence that may be shown to a person."""

    @property
    def reason(self) -> str:
        """The sentence as it was said: `str(error)` would forget its template."""
        return self.args[0]


class SettingsError(BetzError):
    """The settings file is wrong."""


class CertificateError(BetzError):
    """Certificate, key or authorities cannot be used."""


class StudyError(BetzError):
    """What arrived cannot be analysed as a study."""


class MixedStudyError(StudyError):
    """Two patients, or two studies, where one was expected."""


class SpoolError(BetzError):
    """An instance could not be stored. `status` is the C-STORE status that says so (PS3.4 B.2.3, PS3.7 C)."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class JournalError(BetzError):
    """The journal cannot be read or written now. Nothing that it holds is lost."""


class DeliveryError(BetzError):
    """A result could not be sent; another try may succeed."""


class RefusedError(DeliveryError):
    """The peer refused for good."""


class UnsupportedError(RefusedError):
    """The peer does not take the SOP class of the object, or not in its transfer syntax."""


class UnreachableError(DeliveryError):
    """No association could be had, or it was lost. Nothing is said about the object that was sent."""


class ControlError(BetzError):
    """A study cannot be one of the site's own controls, or they cannot be kept."""


class JobError(BetzError):
    """An analysis ended without a result."""


class CrashError(JobError):
    """The process of an analysis was ended by a signal that the node did not send, or found no room on the disk."""
