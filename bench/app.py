"""The app of the served figures: it knows nothing of a guard."""

from fastapi import FastAPI, Request

app = FastAPI()


@app.get("/v1/ticks")
@app.get("/v1/time")
async def read_time() -> dict[str, str]:
    """An answer of few bytes."""
    return {"time": "2026-01-01T00:00:00Z"}


@app.post("/v1/orders", status_code=201)
async def place_order(request: Request) -> dict[str, int]:
    """Reads what came, and does nothing with it."""
    return {"bytes": len(await request.body())}
