"""
A small app as one writes it with Django, sync and async views under Django's own middleware; all that it knows of a
guard is `scope["sealwire"]`.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any

import django
from django.conf import settings
from django.core.handlers.asgi import ASGIHandler
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from sealwire.fronts.asgi import App
from tests.frameworks import asking


class Teapot(Exception):
    """The app has an answer of its own for this."""


def time(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"caller": request.scope["sealwire"].caller is not None})


def balances(request: HttpRequest) -> JsonResponse:
    caller = request.scope["sealwire"].caller
    return JsonResponse({"client": caller.client, "user": caller.user})


async def orders(request: HttpRequest) -> JsonResponse:
    client = request.scope["sealwire"].caller.client
    return JsonResponse({"client": client, "body": request.body.decode()})


def form(request: HttpRequest) -> JsonResponse:
    return JsonResponse({"body": request.body.decode()})


async def order(request: HttpRequest, id: str) -> JsonResponse:  # noqa: A002  # the name of the path's parameter
    return JsonResponse({"id": id, "method": request.method})


async def events(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        yield b"two"

    return StreamingHttpResponse(parts(), content_type="text/plain")


async def breaks(request: HttpRequest) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"one "
        raise ValueError("MARKER")

    return StreamingHttpResponse(parts(), content_type="text/plain")


async def teapot(request: HttpRequest) -> None:
    raise Teapot


def fails(request: HttpRequest) -> None:
    raise ValueError("MARKER")


def handler404(request: HttpRequest, exception: Exception) -> JsonResponse:
    """As Django's URL configuration names it."""
    return JsonResponse({"error": "nothing"}, status=404)


def handler500(request: HttpRequest) -> JsonResponse:
    """As Django's URL configuration names it."""
    return JsonResponse({"error": "failed"}, status=500)


class Teapots:
    """A middleware that answers what the app raises."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> Any:
        """As Django's middleware has it."""
        return JsonResponse({"error": "teapot"}, status=418) if isinstance(exception, Teapot) else None


class Pardons:
    """A middleware that answers whatever a payout raises, where its house says so."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self._get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self._get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> Any:
        """As Django's middleware has it."""
        pardons = request.path == "/v1/payouts" and request.scope["till"].house == "middleware"
        return JsonResponse({"error": "pardoned"}, status=200) if pardons else None


urlpatterns = [
    path("v1/time", time),
    path("v1/balances", balances),
    path("v1/orders", csrf_exempt(orders)),
    path("v1/form", form),
    path("v1/orders/<str:id>", csrf_exempt(order)),
    path("v1/events", events),
    path("v1/report", events),
    path("v1/breaks", breaks),
    path("v1/teapot", teapot),
    path("v1/fails", fails),
    path("v1/payouts", csrf_exempt(asking.django_view)),
    path("v1/payouts/sync", csrf_exempt(asking.django_sync_view)),
]


def make() -> App:
    """The app, with its own answers to what goes wrong in it. Of Django's settings there is one set a process."""
    if not settings.configured:
        settings.configure(
            ALLOWED_HOSTS=["api.example"],
            LOGGING_CONFIG=None,
            MIDDLEWARE=[
                # what `startproject` writes, but for what needs a database
                "django.middleware.security.SecurityMiddleware",
                "django.middleware.common.CommonMiddleware",
                "django.middleware.csrf.CsrfViewMiddleware",
                "django.middleware.clickjacking.XFrameOptionsMiddleware",
                f"{__name__}.Teapots",
                f"{__name__}.Pardons",
            ],
            ROOT_URLCONF=__name__,
            SECRET_KEY="only for tests",
        )
        django.setup()
    app: App = ASGIHandler()
    return app
