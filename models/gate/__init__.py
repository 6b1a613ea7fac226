"""The gate: may tonight's candidate serve?

    evidence   the out-of-sample frame with its sessions numbered, and statistics over it
    health     is it healthy?            is what it predicts usable at all
    skill      has it skill?             against chance, volatility alone, log-HAR and EWMA
    champion   is it at least as good?   paired with the model that serves
    verdict    the decision and its reason, from the checks of the three
    influence  which sessions and symbols weigh most in a check that failed
    forcing    a person's word in place of the gate's, as far as it goes
    inputs     all that these read, kept with the model so that the gate can be asked again

Whether anything that was fitted has seen what it is judged on is asked in `models.leaks`, and must pass as well.
Everything is pure: frames and records in, checks and a verdict out. docs/gate.md tells it to people.
"""

from models.gate.champion import ChampionEvidence
from models.gate.forcing import force
from models.gate.verdict import decide, too_little_history

__all__ = ["ChampionEvidence", "decide", "force", "too_little_history"]
