package tim

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// endpoints are the REST API's base URLs by region. An SDKAppID belongs to just one of them, and a
// wrong one answers with codes like 60026 or 70020.
//
// The first five: tencentcloud.com/document/product/1047/34967, 2022-07-06 (India is gone from its
// newer versions). The others: newer versions of the same page, 2023 to 2025-11.
var endpoints = map[string]string{
	"china":         "https://console.tim.qq.com",
	"singapore":     "https://adminapisgp.im.qcloud.com",
	"seoul":         "https://adminapikr.im.qcloud.com",
	"frankfurt":     "https://adminapiger.im.qcloud.com",
	"india":         "https://adminapiind.im.qcloud.com",
	"siliconvalley": "https://adminapiusa.im.qcloud.com",
	"jakarta":       "https://adminapiidn.im.qcloud.com",
	"tokyo":         "https://adminapijpn.im.qcloud.com",
}

// Endpoint returns the base URL of a region, without a slash at its end.
func Endpoint(region string) (string, error) {
	if url, ok := endpoints[region]; ok {
		return url, nil
	}
	return "", fmt.Errorf("%q is not one of %s", region, strings.Join(Regions(), ", "))
}

// Regions returns the names that [Endpoint] knows, in alphabetical order.
func Regions() []string { return slices.Sorted(maps.Keys(endpoints)) }
