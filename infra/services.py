"""What ingress and workers are made of: the stores, and the repositories above them."""

from dataclasses import dataclass

from infra.broker.port import Broker
from infra.clock import Clock
from infra.documents.port import Documents
from infra.keys.company import CompanyKeys
from infra.keys.master import MasterKey
from infra.keys.platform import PlatformKey
from infra.objects.port import Objects
from infra.repositories.accounts import Accounts
from infra.repositories.claims import Claims
from infra.repositories.faces import Faces
from infra.repositories.job_lists import JobLists
from infra.repositories.jobs import Jobs
from infra.repositories.users import Users
from infra.settings import Settings
from infra.submission import Submission
from schemas.ids import Entropy
from schemas.recognition import ModelStamp


@dataclass(frozen=True)
class Services:
    """The stores and what is built on them, the same in every process. The index is not here: only workers
    have it."""

    settings: Settings
    clock: Clock
    entropy: Entropy
    model: ModelStamp
    master: MasterKey
    keys: CompanyKeys
    documents: Documents
    broker: Broker
    objects: Objects
    accounts: Accounts
    users: Users
    faces: Faces
    jobs: Jobs
    job_lists: JobLists
    claims: Claims
    submission: Submission

    @classmethod
    def over(  # noqa: PLR0913 - what everything is made of, named once, here
        cls,
        *,
        settings: Settings,
        clock: Clock,
        entropy: Entropy,
        model: ModelStamp,
        master: MasterKey,
        keys: CompanyKeys,
        documents: Documents,
        broker: Broker,
        objects: Objects,
    ) -> "Services":
        """Build the repositories above opened stores."""
        jobs = Jobs(documents, keys, clock)
        platform = PlatformKey(master, entropy)
        return cls(
            settings=settings,
            clock=clock,
            entropy=entropy,
            model=model,
            master=master,
            keys=keys,
            documents=documents,
            broker=broker,
            objects=objects,
            accounts=Accounts(documents, keys, platform, clock, entropy),
            users=Users(documents, keys, clock),
            faces=Faces(documents, clock),
            jobs=jobs,
            job_lists=JobLists(documents),
            claims=Claims(documents, keys, platform, clock),
            submission=Submission(jobs, broker, objects, keys, clock, entropy, settings.max_inline_bytes),
        )
