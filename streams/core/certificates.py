"""Client certificates as an endpoint gives them."""

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates


def refuse(certificate: str, private_key: str) -> str | None:
    """Why these are no certificate chain and its key, in one line that repeats nothing of them; None where they are."""
    try:
        chain = load_pem_x509_certificates(certificate.encode())
    except ValueError:
        return "auth.certificate is not a certificate, or chain of such, in PEM"
    try:
        key = load_pem_private_key(private_key.encode(), password=None)
    except (ValueError, TypeError):
        return "auth.private_key is not a private key in PEM without a password"
    except Exception:  # an algorithm that is not supported
        return "auth.private_key is of a kind that is not supported"
    if key.public_key() != chain[0].public_key():
        return "auth.private_key is not the key of the first certificate"
    return None
