// SPDX-License-Identifier: Apache-2.0

// h2spec's conformance tests of HTTP/2 and HPACK, strict, against a port of this machine: h2spec PORT PATH. PATH has to take GET and POST and
// to answer neither before the request is whole: several tests send a second frame and look for what comes back first.
package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/summerwind/h2spec"
	"github.com/summerwind/h2spec/config"
)

func main() {
	port, err := strconv.Atoi(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(2)
	}
	ok, err := h2spec.Run(&config.Config{
		Host: "127.0.0.1", Port: port, Path: os.Args[2], Timeout: 30 * time.Second, MaxHeaderLen: 4000, Strict: true,
	})
	if err != nil {
		fmt.Println(err)
	}
	if !ok || err != nil {
		os.Exit(1)
	}
}
