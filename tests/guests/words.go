// SPDX-License-Identifier: Apache-2.0

// Reads a JSON object of numbers, sleeps in another goroutine, answers the sorted keys and the sum. Built with GOOS=wasip1 GOARCH=wasm.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"sort"
	"time"
)

func main() {
	var numbers map[string]int
	if err := json.NewDecoder(os.Stdin).Decode(&numbers); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	slept := make(chan time.Duration)
	go func() {
		start := time.Now()
		time.Sleep(5 * time.Millisecond)
		slept <- time.Since(start)
	}()
	var keys []string
	sum := 0
	for key, number := range numbers {
		keys = append(keys, key)
		sum += number
	}
	sort.Strings(keys)
	_, err := os.ReadFile("/etc/passwd")
	json.NewEncoder(os.Stdout).Encode(map[string]any{
		"keys": keys, "sum": sum, "slept": <-slept >= 5*time.Millisecond, "files": err == nil, "args": os.Args[1:], "place": os.Getenv("PLACE")})
}
