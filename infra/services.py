"""What ingress and workers are made of: the stores, and the repositories above them."""

from dataclasses import dataclass

from infra.broker.doorbell import Doorbell
from infra.broker.port import Broker
from infra.clock import Clock
from infra.documents.port import Documents
from infra.keys.company import CompanyKeys
from infra.keys.master import MasterKey
from infra.keys.platform import PlatformKey
from infra.metrics import Metrics
from infra.objects.port import Objects
from infra.repositories.access_log import AccessLog
from infra.repositories.accounts import Accounts
from infra.repositories.admins import Admins
from infra.repositories.api_keys import ApiKeys
from infra.repositories.audit import Audit
from infra.repositories.claims import Claims
from infra.repositories.companies import Companies
from infra.repositories.faces import Faces
from infra.repositories.job_lists import JobLists
from infra.repositories.jobs import Jobs
from infra.repositories.members import Members
from infra.repositories.users import Users
from infra.settings import Settings
from infra.submission import Submission
from infra.tracing import Tracing, tracing_of
from schemas.calibration import Calibration
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
    calibration: Calibration
    """What the model's scores mean."""
    master: MasterKey
    keys: CompanyKeys
    documents: Documents
    broker: Broker
    objects: Objects
    accounts: Accounts
    members: Members
    api_keys: ApiKeys
    companies: Companies
    audit: Audit
    users: Users
    faces: Faces
    jobs: Jobs
    job_lists: JobLists
    claims: Claims
    access_log: AccessLog
    submission: Submission
    closings: Doorbell
    """Rung when a company was closed here, so that clearing it away need not wait for the next sweep."""
    metrics: Metrics
    """What happens in this process, counted and timed."""
    tracing: Tracing
    """Where it is told which request it happened for."""

    @classmethod
    def over(  # noqa: PLR0913 - what everything is made of, named once, here
        cls,
        *,
        settings: Settings,
        clock: Clock,
        entropy: Entropy,
        model: ModelStamp,
        calibration: Calibration,
        master: MasterKey,
        keys: CompanyKeys,
        documents: Documents,
        broker: Broker,
        objects: Objects,
    ) -> "Services":
        """Build the repositories above opened stores."""
        jobs = Jobs(documents, keys, clock)
        platform = PlatformKey(master, entropy)
        tracing = tracing_of(settings)
        members = Members(documents, keys, platform, Admins(documents, clock), clock)
        return cls(
            settings=settings,
            clock=clock,
            entropy=entropy,
            model=model,
            calibration=calibration,
            master=master,
            keys=keys,
            documents=documents,
            broker=broker,
            objects=objects,
            accounts=Accounts(documents, keys, platform, clock, entropy),
            members=members,
            api_keys=ApiKeys(documents, keys, clock),
            companies=Companies(documents, keys, members, clock),
            audit=Audit(documents, clock, entropy),
            users=Users(documents, keys, clock),
            faces=Faces(documents, clock),
            jobs=jobs,
            job_lists=JobLists(documents),
            claims=Claims(documents, keys, platform, clock),
            access_log=AccessLog(documents, keys),
            submission=Submission(
                jobs, broker, objects, keys, clock, entropy, settings.max_inline_bytes, tracing
            ),
            closings=Doorbell(),
            metrics=Metrics(clock),
            tracing=tracing,
        )
