"""The sample application: who gets notices. Code like this may not land together with a patch."""


def recipients(accounts: list[dict[str, str]]) -> list[str]:
    """The addresses of everybody who wants notices."""
    return [account["email"] for account in accounts if account["email"]]
