"""`faceid members reset-password --local`: for an operator who has locked himself out. Works on the stores
themselves, so that whoever can read the master key, and nobody else, gets in."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID

import typer

from scripts.commands.terminal import Exit, complain
from scripts.commands.upkeep import opened


def reset_on_this_machine(email: str) -> dict[str, Any]:
    """A token with which the member sets a new password; until they do, the present one works on, so that
    the last admin stays one."""
    return asyncio.run(_reset(email))


async def _reset(email: str) -> dict[str, Any]:
    from infra.crypto.opaque import OpaqueTokens, TokenKind
    from infra.keys.platform import PlatformKey
    from infra.repositories.members import SetPassword
    from schemas.ids import new_id

    async with opened() as stores:
        services = stores.services
        account = await services.accounts.find_login(email)
        if account is None:
            complain(f"No member of any company has the e-mail address {email}.")
            raise typer.Exit(Exit.REFUSED)
        company_id, member = account
        platform = PlatformKey(services.master, services.entropy)
        tokens = OpaqueTokens(TokenKind.SET_PASSWORD, platform.set_password_key, services.entropy)
        token = tokens.generate(company_id, UUID(member.id))
        until = services.clock.now() + timedelta(seconds=services.settings.set_password_token_s)
        await services.members.grant(company_id, member.id, SetPassword(token.digest, until))
        await services.audit.record(
            company_id,
            "member.password_reset",
            actor="operator",
            correlation_id=str(new_id(services.clock.now(), services.entropy)),
            data={"member_id": member.id},
        )
    return {
        "email": email,
        "set_password_token": token.text,
        "set_password_token_expires_at": until.isoformat(),
        "then": "start the service, and run: faceid password --token",
    }
