"""Makes the lab's aiosmtpd demand AUTH, and know one user. Python runs a file of this name in PYTHONPATH first.

The lab's own settings leave AUTH without a mechanism. INTEROP_USER and INTEROP_PASSWORD say who may."""
import os

from aiosmtpd import smtp


def authenticate(server, session, envelope, mechanism, data):
    known = (os.environ["INTEROP_USER"].encode(), os.environ["INTEROP_PASSWORD"].encode())
    return smtp.AuthResult(success=(data.login, data.password) == known)


class Demanding(smtp.SMTP):
    def __init__(self, *args, **settings):
        settings.update(auth_exclude_mechanism=None, authenticator=authenticate, auth_required=True)
        super().__init__(*args, **settings)


smtp.SMTP = Demanding
