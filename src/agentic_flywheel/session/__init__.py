"""What a conversation is: sessions, turns, executions, and the values that they may hold."""

from .execution import Execution
from .history import History
from .ids import check_session_id, new_id
from .in_flight import InFlight
from .model import UniversalSession
from .times import now, parse_time
from .turn import Turn

__all__ = [
    "Execution",
    "History",
    "InFlight",
    "Turn",
    "UniversalSession",
    "check_session_id",
    "new_id",
    "now",
    "parse_time",
]
