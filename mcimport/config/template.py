"""The commented mcimport.toml that `mcimport init` writes."""

_TEMPLATE = """\
# mcimport.toml: what mcimport carries from Mailchimp to Ometria, and how.
# It is looked for in the current directory, then in the user's configuration directory; --config PATH or
# MCIMPORT_CONFIG name another. Below stand the defaults: what you delete stays as it is.

[mailchimp]
connections = 10          # open at once; Mailchimp allows an account 10, all its programs together
window = 1000             # members asked for at once, at most 1000
timeout = 120             # seconds
# account = "acme"        # clients that name the same account share its connections
# url = "https://us6.api.mailchimp.com/3.0"   # for an OAuth token, a proxy or the sandbox

[ometria]
requests_per_second = 8   # what Ometria allows an account (older ones: 4)
batch = 100               # records a push, at most 100
timeout = 60              # seconds
collection = "mailchimp"  # one for each source of contacts; may hold {list_key} and {client}
subscription_events = "new"   # who may start a welcome campaign: "new" opt-ins, "all", "none"
welcome_limit = 1000      # a run that would start more than this starts none, and says so
force_optin = false       # true overrides what every other source says of a person's consent
# account = "acme"        # clients that name the same account share its requests
# url = "https://proxy.example/v2"

[retry]
retries = 3
wait = 5                  # seconds

[consent]                 # what these statuses become: "out" or "unspecified"; the others can't be changed
# cleaned = "out"
# archived = "out"
# pending = "unspecified"
# transactional = "unspecified"

[fields]                  # merge tag -> contact field; `mcimport preview LIST_KEY` shows where each goes
FNAME = "firstname"
LNAME = "lastname"
# BIRTHDATE = "date_of_birth"
# LOYALTY = "properties.loyalty_points"
# MMERGE7 = ""            # left out

# A client is one Mailchimp account and the Ometria account that its people go to.
[clients.acme]
lists = ["1a2d7ebf82"]
mailchimp_api_key = "env:ACME_MAILCHIMP_KEY"  # or "file:/run/secrets/acme-mailchimp", or the key itself
ometria_api_key = "env:ACME_OMETRIA_KEY"

# Any table above may be overridden for one client, setting by setting:
# [clients.acme.ometria]
# requests_per_second = 16
"""


def template() -> str:
    """Valid as it stands: one client, `acme`, with its keys in `ACME_MAILCHIMP_KEY` and `ACME_OMETRIA_KEY`."""
    return _TEMPLATE
