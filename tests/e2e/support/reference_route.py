"""Which service of an address a ClientHello belongs to: a second opinion, as short as the rule."""
NO_NAME_ALERT, NO_PROTOCOL_ALERT = "unrecognized_name", "no_application_protocol"


def rank(pattern, name):
    """How specific a pattern is for a name; None: it does not take it."""
    if pattern == name:
        return 3, 0
    if pattern == "*":
        return 1, 0
    stars, _, suffix = pattern.partition(".")
    before = name[:-len(suffix) - 1] if suffix and name.endswith("." + suffix) else ""
    fits = stars == "**" and before or stars == "*" and before and "." not in before
    return (2, 2 * len(suffix) + (stars == "*")) if fits else None


def fit(service, offered):
    """0: the client cannot speak with it; higher is better."""
    wanted = service.get("match_alpn") or (service.get("alpn") if service.get("mode") != "passthrough" else None) or []
    shared = [len(offered) - i for i, p in enumerate(offered) if p in wanted]
    if shared:
        return 1 + shared[0]
    return int(not wanted or not offered and not service.get("match_alpn"))


def route(services, name, offered):
    """The names of the services that equally have a right to the client (more than one: the configuration is at fault), or an alert."""
    ranks = {s: max((r for p in keys["names"] if (r := rank(p, name))), default=None) for s, keys in services.items()}
    best = max((r for r in ranks.values() if r), default=None)
    owners = {s: fit(services[s], offered) for s, r in ranks.items() if best and r == best}
    if not owners:
        return NO_NAME_ALERT
    best = max(owners.values())
    return {s for s, f in owners.items() if f == best} if best else NO_PROTOCOL_ALERT
