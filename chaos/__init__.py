"""The proof that nothing blocks, nothing is lost and nothing is there twice.

Writers in processes of their own talk in sessions, shared ones and their own, on a real Redis, while faults are
injected. Each notes in a ledger what it is about to save and what the save said. When the dust has settled the
ledgers are compared with what Redis holds::

    python -m chaos --seed 7 --turns 10000 --faults 200 --json result.json
"""
