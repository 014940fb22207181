// Command start says how long a Lambda function's program takes from the start of its process to its first
// question for an event, in milliseconds, one line for each time.
//
//	start PROGRAM TIMES
package main

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"time"

	"groupimport/functions/lambda/lambdatest"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "start:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) != 2 {
		return fmt.Errorf("usage: start PROGRAM TIMES")
	}
	times, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	for range times {
		// The event is of no kind that the function knows, so that it ends at once and asks nothing of a store.
		function := lambdatest.New(lambdatest.Config{Binary: args[0], Timeout: 10 * time.Second, Env: []string{
			"EXPORT_BUCKET=groups", "EXPORT_PREFIX=exports/", "TIM_SDKAPPID=1400000000", "TIM_SECRET_KEY=key", "TIM_ENDPOINT=http://127.0.0.1:9",
			"AWS_REGION=us-east-1", "AWS_ACCESS_KEY_ID=local", "AWS_SECRET_ACCESS_KEY=local", "LOG_LEVEL=error",
		}})
		result, err := function.Invoke(context.Background(), []byte(`{}`))
		function.Close()
		if err != nil {
			return err
		}
		if result.Start == 0 {
			return fmt.Errorf("the program did not ask for an event: %v", result.Error)
		}
		fmt.Printf("%.2f\n", float64(result.Start.Microseconds())/1000)
	}
	return nil
}
