#!/usr/bin/env bash
# failsafe-go 0.9.8, failsafehttp: a Retry-After that is a date is no delay at all.
#
# Guess: the HTTP retry policy waits as long as the server asks, in both forms that RFC 9110, section 10.2.3 gives the
#   header: a number of seconds, or a date.
# Its documentation: a Retry-After header, if there is one, is used as the delay between retries.
# What it does: seconds are waited for. With a date the policy's own delay holds, which is none unless one was set: a server
#   that asks to be left alone until the end of 2100 gets all retries within the same instant.
. "$(dirname "${BASH_SOURCE[0]}")/lib/common.sh"
from_go github.com/failsafe-go/failsafe-go@v0.9.8

cat >main.go <<'END'
package main

import (
    "context"
    "fmt"
    "net/http"

    "github.com/failsafe-go/failsafe-go"
    "github.com/failsafe-go/failsafe-go/failsafehttp"
)

// busy is a server that answers 503 with one Retry-After.
type busy struct {
    header string
    calls  int
}

func (b *busy) RoundTrip(request *http.Request) (*http.Response, error) {
    b.calls++
    header := http.Header{"Retry-After": {b.header}}
    return &http.Response{StatusCode: 503, Header: header, Body: http.NoBody, Request: request}, nil
}

func main() {
    for _, header := range []string{"3600", "Fri, 31 Dec 2100 23:59:59 GMT"} {
        ctx, cancel := context.WithCancel(context.Background())
        fmt.Printf("Retry-After: %s\n", header)
        policy := failsafehttp.NewRetryPolicyBuilder().
            OnRetryScheduled(func(event failsafe.ExecutionScheduledEvent[*http.Response]) {
                fmt.Printf("    next try after %s\n", event.Delay)
                if event.Delay > 0 {
                    cancel() // seen enough
                }
            }).Build()
        server := &busy{header: header}
        request, err := http.NewRequestWithContext(ctx, "GET", "http://server.invalid/", nil)
        if err != nil {
            panic(err)
        }
        if response, err := failsafehttp.NewRoundTripper(server, policy).RoundTrip(request); err == nil {
            response.Body.Close()
        }
        fmt.Printf("    calls: %d\n", server.calls)
        cancel()
    }
}
END
observe go run .
expect <<'END'
Retry-After: 3600
    next try after 1h0m0s
    calls: 1
Retry-After: Fri, 31 Dec 2100 23:59:59 GMT
    next try after 0s
    next try after 0s
    calls: 3
END
