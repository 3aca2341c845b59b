"""The load lab: open-loop arrivals from Locust, measured from when each request was due."""
