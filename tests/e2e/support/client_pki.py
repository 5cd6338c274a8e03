"""Certificates of clients: an authority of their own, with intermediates, revocations, and certificates that are wrong."""
import datetime
import pathlib

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from .pki import new_key, pem_of

CLIENT, SERVER = ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH


def now():
    return datetime.datetime.utcnow()


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Issuer:
    """A CA; its certificate is in FILE."""

    def __init__(self, directory, name, parent=None, path_length=None):
        self.directory = pathlib.Path(directory)
        self.key = new_key("p256")
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.parent = parent
        builder = builder_of(self.name, self.key.public_key(), (parent or self).name, -30, 3650)
        builder = builder.add_extension(x509.BasicConstraints(True, path_length), critical=True)
        self.certificate = builder.sign((parent or self).key, hashes.SHA256())
        self.file = self.directory / f"{name.replace(' ', '-')}.pem"
        self.file.write_bytes(pem(self.certificate))

    def client(self, cn="robot", ou=None, dns=(), uri=(), usage=(CLIENT,), days=30, start=-1, kind="p256", chain=(), serial=None, key_usage=None):
        """A client: cert (chain included) and key, both PEM files. KEY_USAGE: the only use of its key (RFC 5280 4.2.1.3)."""
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, c) for c in ([cn] if isinstance(cn, str) else cn or [])]
        subject += [x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, u) for u in ([ou] if isinstance(ou, str) else ou or [])]
        key = new_key(kind)
        builder = builder_of(x509.Name(subject), key.public_key(), self.name, start, days, serial)
        builder = builder.add_extension(x509.BasicConstraints(False, None), critical=True)
        names = [x509.DNSName(n) for n in dns] + [x509.UniformResourceIdentifier(n) for n in uri]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if usage:
            builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        if key_usage:
            uses = {u: u == key_usage for u in ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "key_cert_sign",
                                                "crl_sign", "encipher_only", "decipher_only")}
            builder = builder.add_extension(x509.KeyUsage(**uses), critical=True)
        return Client(self.directory, builder.sign(self.key, hashes.SHA256()), key, [i.certificate for i in chain])

    def crl(self, revoked=(), days=7, start=-1, name=None):
        """A CRL that lists these clients; the file's name."""
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(now() + datetime.timedelta(days=start)).next_update(now() + datetime.timedelta(days=days))
        for c in revoked:
            builder = builder.add_revoked_certificate(
                x509.RevokedCertificateBuilder().serial_number(c.certificate.serial_number).revocation_date(now()).build())
        data = builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        file = self.directory / (name or "clients.crl")
        file.write_bytes(data)
        return file


def builder_of(subject, public_key, issuer, start, days, serial=None):
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(public_key)
            .serial_number(serial or x509.random_serial_number())
            .not_valid_before(now() + datetime.timedelta(days=start)).not_valid_after(now() + datetime.timedelta(days=days)))


class Client:
    number = 0

    def __init__(self, directory, certificate, key, chain):
        Client.number += 1
        self.certificate = certificate
        self.cert = directory / f"client{Client.number}.pem"
        self.key = directory / f"client{Client.number}.key"
        self.cert.write_bytes(b"".join(map(pem, [certificate, *chain])))
        self.key.write_bytes(pem_of(key))

    @property
    def der(self):
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def spki(self):
        return self.certificate.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
